"""How drawn people move: expressions of a face, actions of a body, signals of two arms."""
