"""Loss against circuit size: what it costs that the circuits of a model are small."""
