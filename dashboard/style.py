"""Style shared by the pages; colours that read in light and dark."""

CSS = """
table.line { width: 100%; border-collapse: collapse; font-size: 0.95rem; margin-top: 0.5rem; }
table.line th { text-align: left; font-weight: 600; opacity: 0.8; padding: 0.4rem 0.6rem; }
table.line thead { border-bottom: 1px solid #8884; }
table.line td { padding: 0.55rem 0.6rem; border-bottom: 1px solid #8882; }
[data-testid="stHtml"]:has(table.line) { overflow-x: auto; }
.facts td { overflow-wrap: anywhere; }
table.line td.long { min-width: 11rem; overflow-wrap: anywhere; } table.line .whole { white-space: nowrap; }
table.line td.n { font-variant-numeric: tabular-nums; }
.pill { padding: 0.12rem 0.6rem; border-radius: 999px; font-size: 0.82rem; font-weight: 600; color: #fff;
  background: #b45309; }
.pill.ok { background: #15803d; } .pill.blind, .pill.error { background: #b91c1c; }
.pill.new, .pill.quiet { background: #64748b; }
.alert { padding: 0.35rem 0.8rem; border-left: 4px solid #b45309; } .alert.error { border-color: #b91c1c; }
.row { display: flex; gap: 0.6rem; overflow-x: auto; padding-bottom: 0.4rem; }
.row figure { flex: 0 0 8rem; margin: 0; font-size: 0.85rem; overflow-wrap: anywhere; }
.row img { width: 100%; height: 6.5rem; object-fit: contain; background: #0b0f14; border-radius: 4px; }
.row img.fill { object-fit: fill; }
.under { display: flex; } .under span { flex: 1; text-align: center; }
.faint { opacity: 0.8; } .small { font-size: 0.85rem; }
.low { max-height: 26rem; overflow-y: auto; }
.wide { overflow-x: auto; } .wide:focus-visible { outline: 3px solid #2563eb; }
[data-testid=stMainBlockContainer] { padding: 4rem 1.5rem 2rem; }
[data-testid=stCaptionContainer] { color: inherit; opacity: 0.8; }
:is([data-testid=stMetricLabel], [data-testid=stMetricValue]) * { white-space: normal !important; }
[data-testid=stMetricValue] { font-size: 1.5rem; }
[data-testid=stBaseButton-primary] { color: light-dark(#fff, #0e1117); }
@media (prefers-color-scheme: dark) { :is([data-testid=stPopoverBody], [data-testid=stDialog]) { color-scheme: dark; } }
[data-tag] { background: #475569; }
@media (max-width: 1000px) {
  [data-testid=stHorizontalBlock] { flex-wrap: wrap; } [data-testid=stColumn] { min-width: 7rem; }
  [data-testid=stHorizontalBlock]:has(> :nth-child(6)) > [data-testid=stColumn] { min-width: 9rem; }
  [data-testid=stColumn]:has([data-testid=stVegaLiteChart]) { min-width: 24rem; }
  [data-testid=stColumn]:has([data-testid=stButtonGroup]) { min-width: max-content; }
  [data-testid=stMetricLabel] { min-height: 2.6rem; }
  [data-testid=stDateInputField] [role=group] { padding-inline: 0.1rem; }
  table.line :is(th, td) { padding-inline: 0.35rem; }
}
"""
