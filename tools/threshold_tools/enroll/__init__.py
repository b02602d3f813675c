"""Enrolment: from a people folder, with one folder of photos per person, to a gallery."""
