"""How a student learns: data, augmentation, methods, one loop, recipes."""
