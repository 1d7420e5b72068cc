"""`make chaos`: the whole product under load while a seeded plan kills, stops, cuts and delays its parts, and a checker
that afterwards says what was lost, is stuck, was unexpected, was duplicated or took an illegal step."""
