"""The verbs from a shell. The only room that prints; it decides nothing that Python users miss."""
