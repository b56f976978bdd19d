"""What is read from files: rows, prompts, sentences, identity groups; and which half nothing learns from."""
