"""Where dill's own tests look for what they share."""
