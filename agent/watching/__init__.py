"""Judging a second model beside what decides: may a candidate be promoted, was a promotion right."""
