"""The dataset folder: schema, validation, reading and writing, splits."""
