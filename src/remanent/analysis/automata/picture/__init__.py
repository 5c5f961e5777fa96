"""The picture of an automaton: what of it is drawn, where its parts stand, and drawing them."""
