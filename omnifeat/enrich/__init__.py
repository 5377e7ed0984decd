"""What logs, boards and pictures say about entities, as columns of pins and products (sections 3.2 and 3.3)."""
