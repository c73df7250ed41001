"""A user's own data: arrays, a torch Dataset or DataLoader, an iterable or a folder of pictures, read once."""
