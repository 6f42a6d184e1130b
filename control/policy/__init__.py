"""The policy language, as pure functions: text to document, document and mesh to filters and visibility."""
