"""Sobolev descent (Mroueh, Sercu & Raj 2019) and its unbalanced form (Mroueh & Rigotti 2020)."""
