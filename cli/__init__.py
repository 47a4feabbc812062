"""The terminal door: parse, call, print. No logic lives here."""
