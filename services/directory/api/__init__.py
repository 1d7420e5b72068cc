"""HTTP, a file per resource. Handlers load, let the model decide, save, and answer."""
