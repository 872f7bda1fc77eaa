"""Everyday words that synthetic prompts are made of."""

from __future__ import annotations

WORDS: tuple[str, ...] = tuple(
    """
    a able about above across act add after again air all almost alone along also always among amount and animal
    answer any appear area arm around arrive art ask autumn away baby back ball bank base basket be bear beat
    beautiful because become before begin behind believe below best better between big bird black blue board boat
    body bone book both bottom box branch bread break bridge bright bring brother brown build building burn busy
    but buy cake call calm can car card care carry case cat catch cause center certain chair chance change check
    child choose circle city class clean clear climb clock close cloth cloud coast cold color come common company
    complete cook cool copy corner correct cost could count country course cover create cross cry cup current cut
    dance dark day deal decide deep degree depend describe desert design develop different direct distance divide
    doctor dog door double down draw dream dress drink drive drop dry during each early earth east easy eat edge
    effect egg eight either electric else end energy engine enough enter equal evening ever every exact example
    except expect explain eye face fact fall family famous far farm fast father favor feel few field figure fill
    final find fine finger finish fire first fish five floor flow flower follow food foot forest form forward four
    free fresh friend from front fruit full game garden gather general gentle give glad glass gold good grass great
    green ground group grow guess guide half hand happen happy hard hat have head hear heart heat heavy help here
    high hill history hold hole home hope horse hot hour house huge human hundred hurry ice idea if imagine inch
    include indicate insect inside interest invent iron island job join journey judge jump just keep key kind king
    kitchen know ladder lake land language large last late laugh law lead learn least leave left length less letter
    level life light like line listen little live long look lot loud love low machine main make many map mark
    market master matter may mean measure meet melody member metal method middle might mile milk mind minute mirror
    miss modern moment money month moon more morning most mother motion mountain mouth move much music name nation
    nature near neck need never new next night nine noise north nose note nothing notice number object ocean of off
    offer office often oil old once one only open opposite orange order other over own page paint pair paper part
    pass past path pattern pay people perhaps person picture piece place plain plan plane plant play please point
    poor possible power practice prepare present press print problem process produce promise proper protect prove
    pull push put quart question quick quiet quite race radio rain raise range rather reach read ready real reason
    record red region remember repeat reply rest result return rich ride right ring rise river road rock roll room
    root rope round row rule run safe sail salt same sand save say scale school science sea search season seat
    second see seed seem sell send sense sentence separate serve set seven several shape share sharp sheet ship
    shoe shop short should shoulder show side sign silent silver simple since sing sister sit six size skill skin
    sky sleep slip slow small smell smile snow soft soil solution some song soon sound south space speak special
    speed spell spend spot spread spring square stand star start state station stay steam step still stone stop
    store story straight strange stream street string strong student study substance such sudden sugar suggest
    summer sun supply support sure surface surprise swim table tail take talk tall teach team tell temperature ten
    test than thank that their then there these thick thing think third those thought thousand through time tiny
    together tone tool top total touch toward town track trade train travel tree triangle trip trouble true try
    turn twenty two type under unit until up upon use usual valley value various very view village visit voice
    wait walk wall want war warm wash watch water wave way wear weather week weight well west wheel when where
    which while white whole whose why wide wild will wind window wing winter wish with without wonder wood word
    work world would write yard year yellow yes yet young
    """.split()  # noqa: SIM905 # a list of quoted words would be four times as long
)
