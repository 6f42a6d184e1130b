"""The client side of peer relays: find one for a peer, bind to it, prove the way through it (spec 5.5)."""
