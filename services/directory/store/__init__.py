"""Where the directory's documents are kept: one protocol, two stores, one test suite for both."""
