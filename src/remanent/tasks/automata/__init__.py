"""Tasks on words of letters that move the state of a finite automaton, which is asked for after every letter."""
