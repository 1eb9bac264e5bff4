"""The catalog: which base models and LoRAs there are, who may use them, and where their files lie."""
