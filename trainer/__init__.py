"""Changes weights: model graph, quantized base, adapters, objectives, export."""
