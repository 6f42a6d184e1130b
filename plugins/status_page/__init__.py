"""A local web page that shows this gateway: node, paths, peers, routes, health, plugins' panels."""
