"""Who is it: distances to the gallery, and many frames to one verdict."""
