"""What everything stands on: elements, errors, settings, units. Imports no other room."""
