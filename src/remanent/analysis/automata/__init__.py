"""Models of tokens as finite automata: what their heads are, and which of them the answers need."""
