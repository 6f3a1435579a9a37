"""From one model to the next: roles, shadow evaluation, the decision log, promotion."""
