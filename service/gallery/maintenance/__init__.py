"""What keeps a gallery sound: verification, upkeep, resealing."""
