"""The nouns: frozen data, no behaviour beyond questions about itself."""
