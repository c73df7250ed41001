"""Networks: what is passed around, edited, saved and rebuilt without a pickle."""
