"""Snowflake: rows of a table or view become objects. The connector is imported with the first login."""

from providers.snowflake.provider import SnowflakeProvider

__all__ = ["SnowflakeProvider"]
