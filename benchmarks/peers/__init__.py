"""Other programs that find and recognise faces, each behind the same verb, to be measured beside ours."""
