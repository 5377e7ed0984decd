"""Query, entity and compatibility encoders."""
