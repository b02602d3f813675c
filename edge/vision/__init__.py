"""From a camera frame to an embedding: cameras, motion, detector, tracker, landmarks, aligner, embedder."""
