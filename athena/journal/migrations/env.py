"""Alembic's entry: runs the migrations on the connection `migrate` hands over, in one transaction."""

from alembic import context
from sqlalchemy import create_engine, event
from sqlalchemy.engine import Connection
from sqlalchemy.pool import StaticPool

raw = context.config.attributes["connection"]
engine = create_engine("sqlite://", creator=lambda: raw, poolclass=StaticPool)


@event.listens_for(engine, "begin")
def _begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")  # the driver, in autocommit, begins nothing by itself


with engine.connect() as connection:
    context.configure(connection=connection, transactional_ddl=True)
    with context.begin_transaction():
        context.run_migrations()
