"""How far explanations change under attacks that keep the prediction."""
