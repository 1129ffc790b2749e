"""How each wire format finishes: a started stream is ended in its own words, and the gateway can answer in them."""
