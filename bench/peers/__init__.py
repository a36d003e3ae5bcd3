"""Other people's models beside ours: the same weights, images, steps and metrics. Needs `bench/environment`."""
