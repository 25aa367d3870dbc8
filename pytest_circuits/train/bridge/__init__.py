"""From a dense model of transformers to a weight-sparse one, within a bound on its loss."""
