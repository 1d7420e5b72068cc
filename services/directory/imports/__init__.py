"""Many people at once, from a table: read it, judge each row, then add those that can be."""
