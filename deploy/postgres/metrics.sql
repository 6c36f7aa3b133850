-- Run once, when the volume is empty. Dagster's storage is the database that POSTGRES_DB names; metrics and ledgers have their own.
CREATE DATABASE metrics;
