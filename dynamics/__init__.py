"""What atoms do on the energy surface of a potential: relaxation. Knows no web and no queue."""
