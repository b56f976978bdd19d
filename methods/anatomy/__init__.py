"""The parts of a language model, found by its structure: decoder layers, output layer, configuration, first token."""
