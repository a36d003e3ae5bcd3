"""`goodpart products`."""

from __future__ import annotations

from cyclopts import App

from agent.cli.common import Acting, CommandError, Common, new_key, show
from agent.cli.inputs import CONFIGURED, InputOptions, words
from agent.cli.teach import teach
from agent.service import products as service
from agent.settings import Input, utc_now
from agent.store import lapses, products, registry
from agent.store.engine import reading

app = App(name="products", help="List, add, change and teach products. Example: goodpart products add flange")

app.command(teach)


@app.command(name="list")
def list_(*, json: bool = False, common: Common = Common()) -> None:
    """List products, the input of their next model, the version that is live, and whose certificate has lapsed.

    Example: goodpart products list --json
    """
    settings = common.settings()
    configured = settings.training.model_dump(include={*Input.model_fields, "ignore"})
    with reading(common.database()) as conn:
        live = registry.live_all(conn)
        lapsed = lapses.all(conn, settings.certificate)
        rows = [
            (
                product.name,
                product.teacher or settings.training.teacher,
                product.review_rate or settings.certificate.review_rate,
                words({**configured, **(product.input or {})}),
                f"v{live[product.id].number}" if product.id in live else None,
                lapsed[product.id].words if product.id in lapsed else None,
            )
            for product in products.all(conn)
        ]
    columns = ["name", "teacher", "review_rate", "input", "live", "lapsed"]
    show(columns, rows, as_json=json, empty="no products yet")


@app.command
def add(
    name: str,
    *,
    teacher: str | None = None,
    review_rate: float | None = None,
    input: InputOptions = CONFIGURED,
    acting: Acting = Acting(),
) -> None:
    """Add a product. Example: goodpart products add flange --review-rate 0.02

    Args:
        name: what is made; frames name it in ce_product, or their station does.
        teacher: its frozen encoder (default: training.teacher of the settings).
        review_rate: good parts sent to review, at most (default: certificate.review_rate of the settings).
        input: what differs from the input of the settings, [training].
    """
    engine = acting.database()
    service.add(
        engine, acting.actor(engine), name,
        teacher=teacher, review_rate=review_rate, input=input.given(), key=new_key(), now=utc_now(),
    )  # fmt: skip
    print(f"added product {name}")


@app.command(name="set")
def set_(
    name: str,
    *,
    teacher: str | None = None,
    review_rate: float | None = None,
    input: InputOptions = CONFIGURED,
    reset_input: bool = False,
    acting: Acting = Acting(),
) -> None:
    """Change a product; its next model uses the new values.

    Example: goodpart products set flange --size 256x512 --fit letterbox --region 0.1,0,0.9,1

    Args:
        name: which product.
        teacher: its frozen encoder.
        review_rate: good parts sent to review, at most.
        input: what changes of its input; the rest stays.
        reset_input: take the input of the settings again, but for what is given here.
    """
    given = input.given()
    if teacher is None and review_rate is None and not given and not reset_input:
        raise CommandError("nothing to change: give --teacher, --review-rate, or what differs in its input: --size ...")
    engine = acting.database()
    service.change(
        engine, acting.actor(engine), name,
        teacher=teacher, review_rate=review_rate, input=given, reset_input=reset_input, key=new_key(), now=utc_now(),
    )  # fmt: skip
    print(f"changed product {name}; its next training run uses this")


@app.command
def retire(name: str, *, acting: Acting = Acting()) -> None:
    """Retire a product: its frames are no longer known. Example: goodpart products retire flange"""
    engine = acting.database()
    service.retire(engine, acting.actor(engine), name, key=new_key(), now=utc_now())
    print(f"retired product {name}")
