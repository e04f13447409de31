//! A seeded world: hub, managers, executors and workers under virtual time in one thread.
