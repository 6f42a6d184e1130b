"""Steps of the database's form, applied in order at start; forward only."""
