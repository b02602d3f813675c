"""From light to embedding: cameras, motion, detector, tracker, landmarks, aligner, embedder."""
