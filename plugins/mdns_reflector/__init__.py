"""Plugin `mdns_reflector`: lets hosts of one site find chosen services of another by multicast DNS."""
