"""Open-ended answers: asked in persona, judged in pairs, read for their stance, and checked."""
