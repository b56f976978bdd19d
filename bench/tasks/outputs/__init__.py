"""Tasks that judge what the edited model writes in answer to an input."""
