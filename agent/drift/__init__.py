"""Drift: whether the scores of each product at each station still look like those that its model was certified on."""
